-- Health of an EscalationRecord: it is written once and has no status.
return {status = "Healthy", message = obj.spec.entries[1].event .. ", by " .. obj.spec.entries[1].actor}
