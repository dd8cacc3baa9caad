-- Health of an Escalation. While it is open it is Suspended, which in Argo CD means: it waits for some external event.
-- That is a person, or a reading; it may take days, and Progressing would say that it ends by itself.
local status = obj.status or {}
local conditions = {}
for _, condition in ipairs(status.conditions or {}) do
  conditions[condition.type] = condition
end

local function is(kind, value)
  return conditions[kind] ~= nil and conditions[kind].status == value
end

local function say(kind)
  return conditions[kind].reason .. ": " .. (conditions[kind].message or "")
end

if is("Closed", "True") then
  return {status = "Healthy", message = "Closed, " .. say("Closed")}
end
if conditions.Closed == nil or status.observedGeneration ~= obj.metadata.generation then
  return {status = "Progressing", message = "The operator has not looked at this version of it yet"}
end

local waiting = ""
if status.waitingOn ~= nil and #status.waitingOn > 0 then
  waiting = "; waits for " .. table.concat(status.waitingOn, ", ")
  if status.nextDeadline ~= nil then
    waiting = waiting .. ", due " .. status.nextDeadline
  end
end

-- It goes wrong: the containment is reverted or late, or people have missed a deadline.
if is("ContainmentHolds", "False") then
  return {status = "Degraded", message = say("ContainmentHolds") .. waiting}
end
local contained = conditions.Contained or {}
if contained.status == "False" and contained.reason == "ContainmentLate" then
  return {status = "Degraded", message = say("Contained") .. waiting}
end
if is("Stalled", "True") then
  return {status = "Degraded", message = say("Stalled") .. waiting}
end

-- The operator's own move, which ends by itself: proved, or ContainmentLate.
if contained.reason == "ContainmentIntended" or contained.reason == "ContainmentApplied" then
  return {status = "Progressing", message = say("Contained")}
end

local message = "Open in tier " .. (status.tier or "unknown")
if contained.status == "True" then
  message = message .. ", contained (" .. contained.reason .. ")"
end
if is("Decided", "True") then
  message = message .. ", " .. say("Decided")
end
return {status = "Suspended", message = message .. waiting}
