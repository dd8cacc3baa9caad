-- Health of a ContainmentIndex: it lists what is contained and has no status.
return {status = "Healthy", message = "What is contained in the namespace"}
