"""SessionStore Operator: a session store for agent gateways that outlives their pods."""

__version__ = "0.1.0"
