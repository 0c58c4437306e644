"""How stores are run: one room per engine, behind the protocol in engine.py."""
