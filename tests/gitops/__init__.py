"""What GitOps tools make of our objects: their own code, run on objects of every state."""
