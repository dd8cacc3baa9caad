-- Health of a ModelRiskSignal: whether it is usable. To report a breach is what it is for, so a breach is Healthy.
local status = obj.status or {}
local conditions = {}
for _, condition in ipairs(status.conditions or {}) do
  conditions[condition.type] = condition
end

local ready = conditions.Ready
if ready == nil or ready.status == "Unknown" or status.observedGeneration ~= obj.metadata.generation then
  return {status = "Progressing", message = "The operator has not looked at this version of it yet"}
end

-- It cannot be used, or nobody has measured for too long.
for _, kind in ipairs({"Ready", "Fresh"}) do
  local condition = conditions[kind]
  if condition ~= nil and condition.status == "False" then
    return {status = "Degraded", message = condition.reason .. ": " .. (condition.message or "")}
  end
end

local message = "The model is in tier " .. (status.tier or "baseline")
local breached = conditions.Breached
if breached ~= nil and breached.status == "True" then
  message = message .. " (" .. breached.reason .. ": " .. (breached.message or "") .. ")"
  if status.escalation ~= nil then
    message = message .. ", see Escalation " .. status.escalation
  end
end
return {status = "Healthy", message = message}
