"""Who may talk to a plane: its authority, its keys, and a kubeconfig for anybody a test wants to be."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

from tests.cluster.certs import CertificateAuthority, service_account_key
from tests.cluster.components import KWOK, USERS, Layout
from tests.cluster.kubeconfig import write_kubeconfig
from tests.cluster.ports import HOST

ADMIN, ADMIN_GROUP = "admin", "system:masters"


class Identities:
    """Writes the certificates, keys and kubeconfigs of one plane into its layout."""

    def __init__(self, layout: Layout, server: str, hosts: Iterable[str] = ()) -> None:
        """`hosts`: further names and addresses by which the API server is reached."""
        self._layout = layout
        self._server = server
        self._hosts = (HOST, "localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", *hosts)
        self._authority = CertificateAuthority()

    def write(self) -> None:
        """Everything that the components need before they start."""
        pki = self._layout.pki
        serving = self._authority.server("kube-apiserver", self._hosts)
        self._layout.ca.write_bytes(self._authority.certificate)
        (pki / "server.crt").write_bytes(serving.certificate)
        (pki / "server.key").write_bytes(serving.key)
        (pki / "service-account.key").write_bytes(service_account_key())
        admin = self._authority.client(ADMIN, [ADMIN_GROUP])
        self._layout.admin_pem.write_bytes(admin.certificate + admin.key)
        self._write(ADMIN, ADMIN, [ADMIN_GROUP])
        self._write(KWOK, KWOK, [ADMIN_GROUP])
        for component, user in USERS.items():
            self._write(component, user)

    def kubeconfig_for(self, user: str, groups: Iterable[str]) -> Path:
        """Write a kubeconfig with a new client certificate. The file name distinguishes equal users in other groups."""
        members = tuple(groups)
        digest = hashlib.sha256("\0".join((user, *members)).encode()).hexdigest()[:8]
        return self._write(f"{re.sub(r'[^A-Za-z0-9.-]', '_', user)}-{digest}", user, members)

    def _write(self, name: str, user: str, groups: Iterable[str] = ()) -> Path:
        return write_kubeconfig(
            self._layout.kubeconfig(name),
            cluster="riskladder-local",
            server=self._server,
            ca=self._authority.certificate,
            user=user,
            pair=self._authority.client(user, groups),
        )
