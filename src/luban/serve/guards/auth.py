"""Settings of who is let in beside API keys (`serve.auth`)."""

from __future__ import annotations

from pydantic import Field, field_validator, model_validator

from luban.catalog import Config
from luban.policy.rules import Role

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")


class OidcConfig(Config):
    """Bearer tokens (JWT) of an OpenID Connect provider."""

    issuer: str = Field(min_length=1)
    """The provider, as it stands in `iss`; its settings are read from `/.well-known/openid-configuration` below it."""
    audience: str = Field(min_length=1)
    """What must stand in `aud`: the name of this API at the provider."""
    jwks_url: str | None = None
    """Where the provider's public keys are, in place of what its settings say."""
    algorithms: tuple[str, ...] = ("RS256", "ES256")
    """Signatures that are accepted; only with public keys."""
    role_claim: str = "roles"
    """The claim that holds roles; dots go down: `realm_access.roles`."""
    roles: dict[str, Role] = Field(default_factory=dict)
    """Role here for each role there; the highest of several counts. A token without one is refused."""
    models_claim: str | None = None
    """The claim that lists models the bearer may ask; without the setting, all."""
    leeway_s: float = Field(30.0, ge=0, le=600)
    """How far clocks may differ."""
    max_age_s: float = Field(86_400.0, gt=0)
    """Longest life of a token, from `iat` to `exp`; longer ones are refused."""
    refresh_s: float = Field(300.0, gt=0)
    """Time after which the provider's keys are fetched again."""
    min_refresh_s: float = Field(10.0, gt=0)
    """Least time between two fetches, however many unknown keys are named."""
    keep_s: float = Field(86_400.0, gt=0)
    """How long keys are used that cannot be fetched again."""
    timeout_s: float = Field(5.0, gt=0, le=60)
    """Longest wait for the provider."""
    one_time: bool = False
    """Let each token in once, by its `jti`: a token that was caught is worth nothing."""

    @field_validator("algorithms")
    @classmethod
    def _are_asymmetric(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name not in ALGORITHMS:
                raise ValueError(f"must be of {', '.join(ALGORITHMS)}, but got {name!r}")
        if not value:
            raise ValueError("must name at least one")
        return value

    @field_validator("issuer", "jwks_url")
    @classmethod
    def _is_safe(cls, value: str | None) -> str | None:
        if value is not None and not is_safe(value):
            raise ValueError(f"must begin with https:// (http:// only on loopback), but got {value[:80]!r}")
        return value

    @model_validator(mode="after")
    def _maps_roles(self) -> OidcConfig:
        if not self.roles:
            raise ValueError("`roles` must map at least one role of the provider, or nobody is let in")
        return self


def is_safe(url: str) -> bool:
    """Whether nobody on the way can change what is fetched there."""
    return url.startswith(("https://", *_LOOPBACK))


_LOOPBACK = tuple(f"http://{host}{end}" for host in ("127.0.0.1", "localhost", "[::1]") for end in (":", "/"))


class AuthConfig(Config):
    """Who is let in beside the holders of API keys."""

    oidc: OidcConfig | None = None
    """Bearer tokens of an OpenID Connect provider; needs the extra `oidc`."""
