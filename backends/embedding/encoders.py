"""Choose the encoder for a model: packed where the architecture is known, padded elsewhere."""

import torch

from bert import BertEncoder
from bert_shape import read_bert_shape
from bert_weights import load_bert_weights
from encoder import Encoder
from faults import ModelLoadError
from model_card import ModelCard
from model_files import read_object
from padded import PaddedEncoder
from qwen3 import Qwen3Encoder
from qwen3_shape import read_qwen3_shape
from qwen3_weights import load_qwen3_weights
from settings import Settings
from weights import load_transformer


def load_encoder(card: ModelCard, settings: Settings) -> Encoder:
    """Load a model's weights onto the settings' device, in their dtype.

    Raises ModelLoadError with one sentence where that can't be.
    """
    if settings.device != "cpu" and not torch.cuda.is_available():
        raise ModelLoadError(f"the instance is for {settings.device}, and torch sees no CUDA")
    folder = card.chain.transformer_folder
    config = read_object(folder / "config.json")
    dtype, modes = settings.torch_dtype, card.chain.pooling_modes
    qwen3 = read_qwen3_shape(config)
    if qwen3 is not None:
        weights = load_qwen3_weights(folder, qwen3, dtype, settings.device)
        return Qwen3Encoder(qwen3, weights, modes, settings.max_batch_tokens, card.max_tokens)
    bert = read_bert_shape(config)
    if bert is not None:
        return BertEncoder(bert, load_bert_weights(folder, bert, dtype, settings.device), modes)
    transformer = load_transformer(card, settings)
    return PaddedEncoder(transformer, modes, card.vocab_size, settings.max_batch_tokens)
