"""An escalation between its opening and its close: rungs, deadlines, and who is notified."""
