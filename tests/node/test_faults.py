"""What only a real node can do wrong: hang, have its pods forgotten, and see a namespace come back."""

from __future__ import annotations

import sys

from riskladder.api.chain import noted_heads, verify_chains
from riskladder.cluster import resources
from riskladder.cluster.client import Client
from tests.cluster import ClusterError
from tests.cluster.node import NodeCluster
from tests.integration.world import TestNamespace, condition, ladder, signal
from tests.node import report
from tests.node.answers import PORT, Case, Models, service, workload
from tests.node.installation import Installation

ASK = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=2).read().decode())"
TITLE = "a hung kubelet, and a namespace that comes back"


async def test_kubelet_hangs_and_the_pods_are_force_deleted(world: TestNamespace, installation: Installation) -> None:
    """The API forgets pods whose containers go on: a client is the only one who notices."""
    await installation.use()
    node = installation.node
    case = Case("ScaleToZero", "Deployment", "honor")
    models = Models(world, node.kubeconfig, [case], replicas=2, grace=10)
    await models.serve()
    node.send_signal("kubelet", "STOP")
    try:
        [sent] = (await models.send()).values()
        await world.stopped(case.name)
        pods = await world.client.list(resources.PODS, world.namespace, labels=f"app={case.name}")
        assert len(pods) == 2, "a hung kubelet ends nothing"
        await world.escalation_says(case.name, "Contained", "False")
        await models.kubectl("delete", "pods", "-l", f"app={case.name}", "--force", "--grace-period=0")
        said = await world.escalation_says(case.name, "Contained", "False", "PodsUnconfirmed")
        message = condition(said, "Contained")["message"]
        assert "2 pods vanished without their node confirming that they ended" in message
        assert all(f"{pod['metadata']['name']} ({pod['spec']['nodeName']})" in message for pod in pods)
        answering = sum([answers(node, pod["status"]["podIP"]) for pod in pods])
        assert answering == len(pods), "which is why nothing is proved"
        report.note(TITLE, f"kubelet hung, pods force-deleted: {answering} of {len(pods)} still answer, and it is said")
    finally:
        node.send_signal("kubelet", "CONT")
    # The clients' log can be read again, and the containers end.
    facts = await models.until_silent()
    [row] = models.rows({case.name: sent}, facts)
    recorded = await models.recorded(case, sent)
    assert not row.goes_on
    assert recorded["podsGoneAt"] >= row.new, "the proof waits for the node"
    said = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in recorded.items())
    report.note(TITLE, f"… the record says {said}; the last answer, after the kubelet went on, {row.new:.1f} s")


async def test_namespace_deleted_and_created_again(admin: Client, installation: Installation) -> None:
    """The new namespace has the same name, the same model, and a breach of its own."""
    await installation.use()
    name = "comes-back"
    for episode in range(2):
        async with TestNamespace(admin, name) as world:
            await world.apply(ladder(lock=True))
            await world.ladder_ready()
            await world.apply(service("scorer"))
            await world.apply(workload("Deployment", "scorer", "credit", replicas=1, grace=5))
            await world.until(lambda world=world: world.endpoints("scorer"), "the model to serve")
            await world.apply(signal("fairness", "scorer", 0.31))
            await world.escalation_says("scorer", "Contained", "True", "ScaledToZero")
            [escalation] = await world.escalations("scorer")
            if episode:
                records = await admin.list(resources.RECORDS, name)
                foreign = {r["spec"]["escalation"] for r in records} - {escalation["metadata"]["name"]}
                verdicts = [c.error or "intact" for c in verify_chains(records, noted_heads([escalation]))]
                foreign_ones = f"records of {len(foreign)} escalations that it never had"
                report.note(TITLE, f"namespace created again: {foreign_ones}; verification says {verdicts}")
        await world.gone()


def answers(node: NodeCluster, address: str) -> bool:
    """Return whether a pod still serves, whatever the API says of it."""
    try:
        return '"score"' in node.inside(sys.executable, "-c", ASK, f"http://{address}:{PORT}/")
    except ClusterError:
        return False
