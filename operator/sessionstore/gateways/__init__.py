"""What is added to a gateway's pod template, and what is taken away again. Pure."""
