"""An identity provider on this machine: a real HTTP server with a JWKS and a discovery document."""

import hmac
import json
import threading
from base64 import urlsafe_b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from joserfc import jwt
from joserfc.jwk import ECKey, Key, RSAKey

RSA, EC = "RS256", "ES256"


def signing_key(key_id: str, algorithm: str = RSA) -> Key:
    """A new key pair of that id."""
    parameters: Any = {"kid": key_id, "use": "sig"}
    if algorithm == RSA:
        return RSAKey.generate_key(2048, parameters)
    return ECKey.generate_key("P-256", parameters)


class Provider:
    """Signs tokens; `keys` are those that it publishes right now."""

    def __init__(self) -> None:
        self.keys: dict[str, Key] = {}
        self.requests: list[str] = []
        self.is_down = False
        self.jwks_body: bytes | None = None
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.requests.append(self.path)
                body = provider.page(self.path)
                self.send_response(200 if body is not None else 500)
                self.end_headers()
                self.wfile.write(body or b"")

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def __enter__(self) -> Self:
        self._thread.start()
        self.rotate("first")
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/realm"

    @property
    def fetches(self) -> int:
        """How often its keys were asked for."""
        return self.requests.count("/keys")

    def rotate(self, key_id: str, algorithm: str = RSA, *, keep: bool = False) -> Key:
        """Publish a new key, and the old ones only where they are kept."""
        key = signing_key(key_id, algorithm)
        if not keep:
            self.keys.clear()
        self.keys[key_id] = key
        return key

    def page(self, path: str) -> bytes | None:
        if self.is_down:
            return None
        if path == "/realm/.well-known/openid-configuration":
            keys_url = self.issuer.replace("/realm", "/keys")
            return json.dumps({"issuer": self.issuer, "jwks_uri": keys_url}).encode()
        if path == "/keys":
            keys = [key.as_dict(private=False) for key in self.keys.values()]
            return self.jwks_body or json.dumps({"keys": keys}).encode()
        return None

    def claims(self, now_s: float, **changes: Any) -> dict[str, Any]:
        """What a good token says, with some of it changed; None takes a claim away."""
        claims = {
            "iss": self.issuer,
            "aud": "embedway",
            "sub": "service-7",
            "tenant": "acme",
            "scope": "openid embedway:embed",
            "iat": int(now_s),
            "exp": int(now_s) + 600,
        } | changes
        return {name: value for name, value in claims.items() if value is not None}

    def token(
        self, now_s: float, *, key: Key | None = None, algorithm: str = RSA, **changes: Any
    ) -> bytes:
        """A token signed with that key, or the one published last."""
        key = key or list(self.keys.values())[-1]
        header = {"alg": algorithm, "kid": key.kid}
        claims = self.claims(now_s, **changes)
        return jwt.encode(header, claims, key, algorithms=[algorithm]).encode()


def signed_with_public_key(key: Key, claims: dict[str, Any]) -> bytes:
    """An HS256 token whose secret is a public key, as an attacker makes one."""
    head = {"alg": "HS256", "kid": key.kid}
    parts = [urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (head, claims)]
    content = b".".join(parts)
    secret = key.as_pem(private=False)  # type: ignore[union-attr]
    signature = hmac.digest(secret, content, "sha256")
    return content + b"." + urlsafe_b64encode(signature).rstrip(b"=")
