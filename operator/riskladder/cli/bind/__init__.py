"""``riskladder bind``: write a MonitorBinding from a sample, try it on one, and grant what it needs."""

from __future__ import annotations

from riskladder.cli.bind.from_file import from_file
from riskladder.cli.bind.rbac import rbac
from riskladder.cli.bind.trial import trial
from riskladder.cli.program import group

bind = group("bind", "What a monitor's words mean: write a binding from a sample, try it offline, grant what it needs.")
bind.command("from")(from_file)
bind.command("test")(trial)
bind.command("rbac")(rbac)
