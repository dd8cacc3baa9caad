"""From what a monitor sends to ModelRiskSignals, written as the service account that the binding names."""
