"""The laboratory: booted Debian containers that hold an OpenStack controller.

The folder reads in this order, each module standing only on those before it:

- `settings`   where everything is kept on this machine
- `progress`   what a waiting person is told
- `cache`      directories that are built once, under a name that holds the hash of their recipe
- `image`      the Debian image
- `eras`       releases that Debian 12 does not have: Ocata and 2026.1, as layers over the image
- `network`    a bridge in a network namespace, for several nodes
- `node`       one container: boot, run commands, crash, freeze, clean up
- `provision`  databases, accounts, configuration files of the services
- `controller` a node with all of that, ready to use
- `package`    the project's Debian package
- `member`     the controller as a member of a cluster
- `fencing`    the power switch that fence agents ask
- `cloud`      a user of the cloud, from outside
- `cluster`    several nodes with Corosync and Pacemaker
- `timeline`, `report`  what ran where over time, for people
"""
