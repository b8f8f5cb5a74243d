"""Deployment: a target is one file that turns what is known of a model and its server into files to deploy it."""

TARGETS = {
    "container": ".container:Container",
    "compose": ".compose:Compose",
    "vm": ".vm:Vm",
    "proxy": ".proxies.target:Proxy",
    "kubernetes": ".kubernetes:Kubernetes",
    "kserve": ".kserve:KServe",
    "ray": ".rayserve:Ray",
    "monitoring": ".watch.target:Monitoring",
    "github": ".github:GitHub",
    "gitlab": ".gitlab:GitLab",
}
