"""The router's own description: `/openapi.json`, and a page of it that loads nothing else."""

import html

import msgspec
import orjson

from router import __version__
from router.api.exchange import Exchange, Reply
from router.api.kserve_http import InferBody
from router.api.openai import EmbeddingsBody
from router.api.openapi_admin import admin_components, admin_paths
from router.api.openapi_parts import Schema, operation
from router.service import EmbeddingService

_ABOUT = (
    "OpenAI's embeddings API and the Open Inference Protocol (KServe v2) in front of vector spaces."
)
_KSERVE_ERROR: Schema = {
    "type": "object",
    "required": ["error"],
    "properties": {"error": {"type": "string"}},
}
_EMBEDDING: Schema = {
    "type": "object",
    "required": ["object", "index", "embedding"],
    "properties": {
        "object": {"const": "embedding"},
        "index": {"type": "integer", "minimum": 0},
        "embedding": {
            "description": "Numbers, or base64 of little-endian float32.",
            "anyOf": [{"type": "array", "items": {"type": "number"}}, {"type": "string"}],
        },
    },
}
_EMBEDDINGS: Schema = {
    "type": "object",
    "required": ["object", "data", "model", "usage"],
    "properties": {
        "object": {"const": "list"},
        "data": {"type": "array", "minItems": 1, "items": _EMBEDDING},
        "model": {"type": "string"},
        "usage": {
            "type": "object",
            "required": ["prompt_tokens", "total_tokens"],
            "properties": {
                "prompt_tokens": {"type": "integer", "minimum": 1},
                "total_tokens": {"type": "integer", "minimum": 1},
            },
        },
    },
}
_MODEL: Schema = {
    "type": "object",
    "required": ["id", "object", "created", "owned_by"],
    "properties": {
        "id": {"type": "string"},
        "object": {"const": "model"},
        "created": {"type": "integer"},
        "owned_by": {"type": "string"},
    },
}
_MODELS: Schema = {
    "type": "object",
    "required": ["object", "data"],
    "properties": {"object": {"const": "list"}, "data": {"type": "array", "items": _MODEL}},
}
_OBJECT: Schema = {"type": "object"}
_WORK = (400, 401, 402, 403, 404, 408, 409, 413, 429, 502, 503, 504)


class DocumentationDoor:
    """`GET /openapi.json` and `GET /docs`."""

    def __init__(self, service: EmbeddingService) -> None:
        self._document = openapi_document(sorted(service.routes))

    async def openapi(self, exchange: Exchange) -> Reply:
        """The OpenAPI 3.1 document."""
        del exchange
        return Reply(200, orjson.dumps(self._document))

    async def page(self, exchange: Exchange) -> Reply:
        """The same for people."""
        del exchange
        return Reply(200, _page(self._document).encode(), content_type=b"text/html; charset=utf-8")


def openapi_document(models: list[str]) -> Schema:
    """The OpenAPI 3.1 document of a router that serves these models."""
    (embeddings, infer), components = msgspec.json.schema_components(
        [EmbeddingsBody, InferBody], ref_template="#/components/schemas/{name}"
    )
    _tighten(components["EmbeddingsBody"]["properties"], models)
    model = {"name": "model", "in": "path", "required": True, "schema": {"type": "string"}}
    space = {
        "name": "x-embedway-space",
        "in": "header",
        "schema": {"type": "string"},
        "description": "The space that the answer must come from; another is refused with 409.",
    }
    paths: Schema = {
        "/v1/embeddings": {
            "post": operation(
                "Create embeddings", _EMBEDDINGS, _WORK, body=embeddings, parameters=[space]
            )
        },
        "/v1/models": {"get": operation("List models", _MODELS, (401, 503))},
        "/v1/models/{model}": {
            "get": operation("Retrieve a model", _MODEL, (401, 404, 503), parameters=[model])
        },
        "/v2/models/{model}/infer": {
            "post": operation(
                "Infer (Open Inference Protocol)",
                _OBJECT, _WORK, body=infer, parameters=[model], error=_KSERVE_ERROR,
            )
        },
        "/v2/models/{model}": {
            "get": operation(
                "Model metadata", _OBJECT, (401, 404, 503), parameters=[model], error=_KSERVE_ERROR
            )
        },
        "/v2/models/{model}/ready": {
            "get": operation(
                "Model readiness",
                _OBJECT, (404, 503), parameters=[model], error=_KSERVE_ERROR, open_to_all=True,
            )
        },
        "/v2": {"get": operation("Server metadata", _OBJECT, (), open_to_all=True)},
    }  # fmt: skip
    for base in ("/health", "/v2/health"):
        paths[f"{base}/live"] = {"get": operation("Liveness", _OBJECT, (), open_to_all=True)}
        ready = operation("Readiness", _OBJECT, (503,), open_to_all=True, error=_OBJECT)
        paths[f"{base}/ready"] = {"get": ready}
    paths |= admin_paths()
    components |= admin_components()
    return {
        "openapi": "3.1.0",
        "info": {"title": "Embedway", "version": __version__, "description": _ABOUT},
        "components": {
            "schemas": components,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "paths": paths,
    }


def _tighten(properties: Schema, models: list[str]) -> None:
    """What the decoder's types cannot say."""
    properties["model"]["examples"] = models
    properties["dimensions"]["anyOf"][0]["minimum"] = 1
    ids = {"type": "array", "minItems": 1, "items": {"type": "integer", "minimum": 0}}
    text = {"type": "string", "minLength": 1}
    properties["input"] = {
        "anyOf": [
            text,
            {"type": "array", "minItems": 1, "maxItems": 2048, "items": text},
            ids,
            {"type": "array", "minItems": 1, "maxItems": 2048, "items": ids},
        ]
    }


def _page(document: Schema) -> str:
    rows = "\n".join(
        f"<tr><td><code>{method.upper()}</code></td><td><code>{html.escape(path)}</code></td>"
        f"<td>{html.escape(operation['summary'])}</td>"
        f"<td>{' '.join(operation['responses'])}</td></tr>"
        for path, item in document["paths"].items()
        for method, operation in item.items()
    )
    fields = "\n".join(
        f"<tr><td><code>{html.escape(name)}</code></td></tr>"
        for name in document["components"]["schemas"]["EmbeddingsBody"]["properties"]
    )
    return f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>Embedway</title>
<style>body{{font:16px/1.5 system-ui;max-width:60rem;margin:2rem auto;padding:0 1rem}}
table{{border-collapse:collapse}}td{{border-top:1px solid #ccc;padding:.3rem .8rem}}</style>
<h1>Embedway {__version__}</h1><p>{_ABOUT}</p>
<p>Keys go into <code>Authorization: Bearer …</code>. The whole description:
<a href="/openapi.json">openapi.json</a>.</p>
<table>{rows}</table>
<h2>Fields of <code>POST /v1/embeddings</code></h2><table>{fields}</table></html>"""
