-- Health of a MonitorBinding: whether it can be used, and whether what arrives is stored.
local status = obj.status or {}
local conditions = {}
for _, condition in ipairs(status.conditions or {}) do
  conditions[condition.type] = condition
end

local ready = conditions.Ready
if ready == nil or ready.status == "Unknown" or status.observedGeneration ~= obj.metadata.generation then
  return {status = "Progressing", message = "Neither ingest nor poll has looked at this version of it yet"}
end

for _, kind in ipairs({"Ready", "Receiving", "QueryOk"}) do
  local condition = conditions[kind]
  if condition ~= nil and condition.status == "False" then
    return {status = "Degraded", message = condition.reason .. ": " .. (condition.message or "")}
  end
end

local last = status.lastReading
if last == nil then
  return {status = "Healthy", message = "Nothing has been reported by it yet"}
end
return {status = "Healthy", message = "Last reading: " .. last.indicator .. ", observed at " .. last.observedAt}
