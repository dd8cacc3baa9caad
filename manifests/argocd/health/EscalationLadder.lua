-- Health of an EscalationLadder: whether it is in force. The standard libraries of Lua are not needed.
local status = obj.status or {}
local conditions = {}
for _, condition in ipairs(status.conditions or {}) do
  conditions[condition.type] = condition
end

local ready = conditions.Ready
if ready == nil or ready.status == "Unknown" or status.observedGeneration ~= obj.metadata.generation then
  return {status = "Progressing", message = "The operator has not looked at this version of it yet"}
end

-- What keeps it from doing its work: it is not in force, or no decision counts.
for _, kind in ipairs({"Ready", "DecisionsCount"}) do
  local condition = conditions[kind]
  if condition ~= nil and condition.status == "False" then
    return {status = "Degraded", message = condition.reason .. ": " .. (condition.message or "")}
  end
end

if obj.spec.suspended then
  return {status = "Suspended", message = "Evaluates and records, and acts on nothing, until spec.suspended is unset"}
end

-- What people should see and no sync should stop at: they pass with the next message, or the next review.
local message = "In force; open escalations: " .. tostring(status.openEscalations or 0)
for _, kind in ipairs({"ChannelsAvailable", "ClockAgrees", "StopsPromptly", "ReviewCurrent"}) do
  local condition = conditions[kind]
  if condition ~= nil and condition.status == "False" then
    message = message .. "; " .. condition.reason .. ": " .. (condition.message or "")
  end
end
return {status = "Healthy", message = message}
