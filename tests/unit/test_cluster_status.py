"""What the laboratory reads from crm_mon."""

from __future__ import annotations

from lab.cluster import parse

TEXT = """<pacemaker-result><summary><current_dc present="true" name="n2" with_quorum="true"/></summary>
<nodes><node name="n1" online="true" standby="true" unclean="false"/><node name="n2" online="true"/>
<node name="n3" online="false" unclean="true"/><node name="n4" online="false" standby="true"/></nodes>
<resources><group id="g"><resource id="p_ip" resource_agent="ocf:heartbeat:IPaddr2" role="Started" managed="true">
<node name="n2"/></resource></group>
<clone id="cl"><resource id="p_ping" resource_agent="ocf:pacemaker:ping" role="Started" managed="true"><node name="n2"/>
</resource><resource id="p_ping" resource_agent="ocf:pacemaker:ping" role="Stopped" managed="true"/></clone>
<resource id="p_x" resource_agent="ocf:openstack:x" role="Started" failed="true" managed="false">
<node name="n2"/></resource>
</resources>
<node_attributes><node name="n2"><attribute name="degraded-p_x" value="why"/></node></node_attributes>
<node_history><node name="n2"><resource_history id="p_x" fail-count="INFINITY"/><resource_history id="p_ip"/></node>
</node_history>
<failures><failure op_key="p_x_monitor_0" node="n2" exitstatus="error" exitreason="dead"/></failures>
<fence_history><fence_event action="reboot" target="n3" status="failed"/></fence_history></pacemaker-result>"""


def test_crm_mon_is_read() -> None:
    status = parse(TEXT)
    assert (status.quorate, status.controller) == (True, "n2")
    assert status.nodes == {"n1": "standby", "n2": "online", "n3": "unclean", "n4": "offline"}
    assert (status.online(), status.members) == (["n2"], ["n1", "n2"])
    assert (status.where("p_ip"), status.where("p_ping"), status.where("p_x")) == ("n2", "n2", "")
    assert status.stopped() == ["p_x"]
    assert [one.managed for one in status.resources] == [True, True, True, False]
    assert status.attributes == {"n2": {"degraded-p_x": "why"}}
    assert status.fail_counts == {("p_x", "n2"): 1000000}
    assert status.failures == ["op_key=p_x_monitor_0 node=n2 exitstatus=error exitreason=dead"]
    assert status.fencing == ["action=reboot target=n3 status=failed"]


def test_nothing_is_known_of_an_empty_cluster() -> None:
    status = parse("<pacemaker-result><nodes/></pacemaker-result>")
    assert (status.quorate, status.nodes, status.resources, status.stopped()) == (False, {}, [], [])
