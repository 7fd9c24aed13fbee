"""Texts whose vectors tell one vector space from another.

Short and long, many scripts, code, an instruction, and what is known to go wrong elsewhere: texts
that begin with "import" (NaN in float16), composed and decomposed accents, text without words.
"""

from dataclasses import replace

from router.domain.ports import Tokenizer
from router.domain.types import EmbeddingRequest, Space, TokenBatch
from router.text.encode import encode_request
from router.text.prompts import DOCUMENT, QUERY

# The first is also what every call to a provider carries, so it is short.
CANARY = "harbour"
_PARAGRAPH = (
    "The harbour of the old town had been silent for most of the winter. When the ice broke in "
    "March, the first boats went out before sunrise and came home late, their nets heavy with "
    "herring. Children ran along the quay and counted the crates; the women of the cooperative "
    "wrote prices on a slate, and by noon the whole catch was on its way inland by train. "
)
GOLDEN_TEXTS = (
    CANARY,
    "How do I change the delivery address of an order that has shipped?",
    "Photosynthesis turns light, water and carbon dioxide into sugar.",
    _PARAGRAPH,
    _PARAGRAPH * 8,
    "import numpy as np\nimport torch\n\ndef mean(xs):\n    return np.asarray(xs).mean()\n",
    "SELECT tenant, SUM(tokens) FROM ledger WHERE day >= '2026-01-01' GROUP BY tenant;",
    "光合作用把光、水和二氧化碳变成糖。",
    "注文した商品の配送先を変更するにはどうすればよいですか。",
    "كيف يمكنني تغيير عنوان التسليم بعد شحن الطلب؟",
    "प्रकाश संश्लेषण प्रकाश और पानी को शर्करा में बदलता है।",
    "Гавань была тихой, пока не вернулись первые рыбацкие лодки.",
    "La fotosi\u0301ntesis convierte la luz en azu\u0301car; caf\u00e9, ni\u00f1o, \u00fcber.",
    "3.14159 -- 2,718 %% [#42] \U0001f41f\u2693",
)
GOLDEN_QUERY = "which process turns sunlight into sugar?"


def golden_batches(space: Space, tokenizer: Tokenizer) -> list[TokenBatch]:
    """The golden documents, and a query with its instruction, as a space's models read them."""
    texts = [_fitting(space, tokenizer, text) for text in GOLDEN_TEXTS]
    documents = EmbeddingRequest(space.name, 0.0, texts=texts, input_type=DOCUMENT)
    query = EmbeddingRequest(space.name, 0.0, texts=[GOLDEN_QUERY], input_type=QUERY)
    return [
        encode_request(space, tokenizer, one, with_texts=True)
        for one in (documents, replace(query, truncate=True))
    ]


def canary_batch(space: Space, tokenizer: Tokenizer) -> TokenBatch:
    """The one text that rides along; its reference is the first row of the golden ones."""
    request = EmbeddingRequest(space.name, 0.0, texts=[CANARY], input_type=DOCUMENT)
    return encode_request(space, tokenizer, request, with_texts=True)


def _fitting(space: Space, tokenizer: Tokenizer, text: str) -> str:
    """As much of the text as the space takes whole."""
    probe = EmbeddingRequest(space.name, 0.0, texts=[text], input_type=DOCUMENT, truncate=True)
    while text and _is_cut(space, tokenizer, probe):
        text = text[: len(text) // 2]
        probe = replace(probe, texts=[text])
    return text


def _is_cut(space: Space, tokenizer: Tokenizer, probe: EmbeddingRequest) -> bool:
    whole = replace(space, max_tokens=2**31 - 1)
    return encode_request(whole, tokenizer, probe).total > space.max_tokens
