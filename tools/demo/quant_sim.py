"""Simulates weights in the block formats Q8_0, Q4_K and Q6_K, and activations in 8 bits.

Quantises and dequantises in one step by plain rounding.  Good quantisers search for better scales, so the real formats are a
little more accurate.  Blocks run along the last dimension.
`round_trip` picks the format of each matrix as the Q4_K_M mix does.
"""
import torch


def half(x):
    return x.to(torch.float16).to(torch.float32)


def q8_0(w):
    x = w.reshape(-1, 32)
    d = half(x.abs().amax(1, keepdim=True) / 127)
    q = torch.round(x / torch.where(d == 0, torch.ones_like(d), d)).clamp(-127, 127)
    return (q * d).reshape(w.shape)


def q4_k(w):
    x = w.reshape(-1, 8, 32)
    low = x.amin(2, keepdim=True).clamp(max=0)
    scale, floor = (x.amax(2, keepdim=True) - low).clamp(min=0) / 15, -low
    d, dmin = half(scale.amax(1, keepdim=True) / 63), half(floor.amax(1, keepdim=True) / 63)
    s = d * torch.round(scale / d.clamp(min=1e-12)).clamp(0, 63)
    m = dmin * torch.round(floor / dmin.clamp(min=1e-12)).clamp(0, 63)
    q = torch.round((x + m) / s.clamp(min=1e-12)).clamp(0, 15)
    return (q * s - m).reshape(w.shape)


def q6_k(w):
    x = w.reshape(-1, 16, 16)
    largest = torch.gather(x, 2, x.abs().argmax(2, keepdim=True))
    scale = largest / -32
    d = half(scale.abs().amax(1, keepdim=True) / 127)
    s = d * torch.round(scale / d.clamp(min=1e-12)).clamp(-128, 127)
    q = torch.round(x / torch.where(s == 0, torch.ones_like(s), s)).clamp(-32, 31)
    return (q * s).reshape(w.shape)


def more_bits(layer, layers):
    return layer < layers // 8 or layer >= 7 * layers // 8 or (layer - layers // 8) % 3 == 2


def round_trip(name, w, mode, layers):
    """The matrix `name` (as in the GGUF file) after a trip through `mode`: none, q8_0, q4_k_m."""
    if mode == "none" or w.ndim < 2 or name.endswith("ffn_gate_inp.weight"):
        return w
    if mode == "q8_0":
        return q8_0(w)
    if name == "token_embd.weight":
        return q6_k(w)
    layer = int(name.split(".")[1])
    if any(part in name for part in ("attn_v", "ffn_down")) and more_bits(layer, layers):
        return q6_k(w)
    return q4_k(w)


def int8_activations(x):
    """Activations rounded to 8 bits with one scale for every 32 values."""
    y = x.reshape(-1, 32)
    d = y.abs().amax(1, keepdim=True) / 127
    return (torch.round(y / d.clamp(min=1e-12)) * d).reshape(x.shape)
