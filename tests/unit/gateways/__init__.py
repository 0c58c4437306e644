"""Tests of what goes into a gateway's pod template: pure, no API server."""
