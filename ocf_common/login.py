"""How a resource logs in to Keystone, with which credentials and when not.

Credentials, the first that is there: parameters, ``openrc``, ``clouds_yaml``, ``[keystone_authtoken]`` of the
service's configuration. After a refusal the same credentials rest for 15 minutes, for Keystone may lock the
account, and that may be the service's own. Tokens are never written to disk.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    pass
