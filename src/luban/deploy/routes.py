"""How pods are reached in a cluster, and what they reach: Service, Ingress, NetworkPolicy.

Decided here: pods are reached by the ingress controller and by Prometheus, and reach the ports that settings name and
no other. Asking a model twice does no harm, so the NGINX controller may ask another server. gRPC has an Ingress
of its own, since that controller speaks one protocol for each. Knows no target.
"""

from __future__ import annotations

from collections.abc import Sequence

from luban.deploy.base import Deployment
from luban.deploy.needs import ports_outside
from luban.deploy.pods import PORT, Object, follows, name_of, object_of, selector
from luban.deploy.proxies.front import GRPC

NGINX = "nginx"
_NODE_CACHE = "169.254.20.10/32"
"""Where NodeLocal DNSCache answers (https://kubernetes.io/docs/tasks/administer-cluster/nodelocaldns)."""
_PREFIX = "nginx.ingress.kubernetes.io"


def service(plan: Deployment, namespace: str) -> Object:
    """Port 80, and that of gRPC."""
    ports: list[Object] = [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}]
    if plan.serve.grpc.port is not None:
        more = {"name": "grpc", "port": plan.serve.grpc.port, "targetPort": "grpc", "appProtocol": "kubernetes.io/h2c"}
        ports.append({**more, "protocol": "TCP"})
    return object_of(plan, namespace, "v1", "Service", spec={"selector": selector(plan), "ports": ports})


def network(plan: Deployment, namespace: str, callers: Sequence[str], egress_ports: Sequence[int]) -> Object:
    """Requests come from the namespaces `callers`; servers reach what their settings name, and `egress_ports`."""
    inner = [PORT, *([plan.serve.grpc.port] if plan.serve.grpc.port is not None else [])]
    outer = sorted({*ports_outside(plan.serve, plan.config), *egress_ports})
    spec: Object = {
        "podSelector": {"matchLabels": selector(plan)},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"from": [_namespace(one) for one in callers], "ports": [_port(port) for port in inner]}],
        "egress": [],
    }
    if outer:
        # The cluster's name server, or the cache of it that runs on each node.
        servers = [_namespace("kube-system"), {"ipBlock": {"cidr": _NODE_CACHE}}]
        names = {"to": servers, "ports": [_port(53), {**_port(53), "protocol": "UDP"}]}
        spec["egress"] = [names, {"ports": [_port(port) for port in outer]}]
    return object_of(plan, namespace, "networking.k8s.io/v1", "NetworkPolicy", spec=spec)


def ingress(plan: Deployment, namespace: str, ingress_class: str, tls_secret: str) -> Object:
    """All paths over HTTP."""
    found = _ingress(plan, namespace, ingress_class, tls_secret, "/", "http")
    if ingress_class == NGINX:
        found["metadata"]["annotations"] = _annotations(plan)
    return found


def grpc_ingress(plan: Deployment, namespace: str, tls_secret: str) -> Object:
    """The open inference protocol over gRPC, for the NGINX controller."""
    found = _ingress(plan, namespace, NGINX, tls_secret, GRPC.rstrip("/"), "grpc")
    found["metadata"]["name"] += "-grpc"
    found["metadata"]["annotations"] = {
        f"{_PREFIX}/backend-protocol": "GRPC",
        f"{_PREFIX}/proxy-body-size": str(plan.serve.max_body_bytes),
        f"{_PREFIX}/ssl-redirect": "true",
    }
    return found


def _ingress(plan: Deployment, namespace: str, ingress_class: str, tls_secret: str, path: str, port: str) -> Object:
    backend = {"service": {"name": name_of(plan), "port": {"name": port}}}
    spec = {
        "ingressClassName": ingress_class,
        "tls": [{"hosts": [plan.config.host], "secretName": tls_secret}],
        "rules": [
            {
                "host": plan.config.host,
                "http": {"paths": [{"path": path, "pathType": "Prefix", "backend": backend}]},
            }
        ],
    }
    return object_of(plan, namespace, "networking.k8s.io/v1", "Ingress", spec=spec)


def _annotations(plan: Deployment) -> dict[str, str]:
    """What the NGINX ingress controller is told."""
    largest = plan.serve.max_body_bytes
    if follows(plan) and plan.serve.jobs.enabled:
        # Files of jobs; the servers hold all other bodies to their own limit.
        largest = max(largest, int(plan.serve.jobs.max_file_mb * 2**20))
    return {
        f"{_PREFIX}/proxy-body-size": str(largest),
        f"{_PREFIX}/proxy-next-upstream": "error timeout http_502 http_503 non_idempotent",
        f"{_PREFIX}/proxy-next-upstream-tries": "2",
        f"{_PREFIX}/ssl-redirect": "true",
    }


def _namespace(name: str) -> Object:
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}


def _port(number: int) -> Object:
    return {"port": number, "protocol": "TCP"}
