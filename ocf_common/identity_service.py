"""Keystone: the service that every login goes to, and that is asked with a login itself."""

from __future__ import annotations

from ocf_common.api_service import ApiService
from ocf_common.outcomes import DependencyDown, Silent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocf_common.deadline import Deadline
    from ocf_common.identity import Tree


class IdentityService(ApiService):
    """An Identity API. Level 20 is a login: with credentials one that succeeds, else one that must be refused."""

    check_20 = "also logs in, which reads the database; without credentials with a login that must be refused"

    def works(self, deadline: Deadline, tree: Tree) -> None:
        self.answers(deadline, tree)
        from ocf_common import identity_check
        from ocf_common.login import log_in, tls_settings

        url = str(self.base_url().with_path("/v3"))
        tls = self._tls(self.base_url()) or tls_settings(self)
        try:
            token = log_in(self, deadline, url, tls.server_name)
        except DependencyDown as finding:
            # It answers without a login and not with one: what that means its dependencies tell.
            raise Silent(finding.reason) from None
        if token is None:
            identity_check.must_be_refused(url, deadline, tls)
