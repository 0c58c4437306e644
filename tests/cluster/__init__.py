"""How the kind cluster and the images come to be, for the tests and the demo; README.md beside this file tells more."""
