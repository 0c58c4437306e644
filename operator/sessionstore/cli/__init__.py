"""The one program, `sessionstore …`. Only here are parts wired together."""
