"""What a person sees of an escalation and may do about it: one source for the command line, the console and reports."""
