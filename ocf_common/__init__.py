"""The library of the Pacemaker resource agents for OpenStack (``ocf:openstack:*``)."""

VERSION = "1.0.0"
