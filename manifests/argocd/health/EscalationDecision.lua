-- Health of an EscalationDecision: whether it counted. It never changes, so one that is refused stays Degraded.
local accepted = nil
for _, condition in ipairs((obj.status or {}).conditions or {}) do
  if condition.type == "Accepted" then
    accepted = condition
  end
end

if accepted == nil or accepted.status == "Unknown" then
  return {status = "Progressing", message = "Not judged yet"}
end
local message = accepted.reason .. ": " .. (accepted.message or "")
if accepted.status == "False" then
  return {status = "Degraded", message = message}
end
return {status = "Healthy", message = message}
