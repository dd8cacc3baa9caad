-- Health of an EscalationRecord: it is written once and has no status.
return {status = "Healthy", message = obj.spec.event .. ", by " .. obj.spec.actor}
