"""DeepTrack's network for one image cue (Li et al., section III-A), the layer that fuses the cues, and the score.

32 x 32 -> conv 13 x 13, 12 maps, ReLU, max 2 x 2 -> conv 7 x 7, 18 maps, ReLU, max 2 x 2 -> 72 -> 8, ReLU -> 2.

Both convolutions are written as matrix products with banded (Toeplitz) matrices. On CPU the first one, with its
single input channel, is faster that way than as a convolution, and so are its gradients; and with the kernels of
several videos under `vmap` it stays a batched product where a convolution would become a grouped one.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

PATCH = 32
KERNEL_1, MAPS_1 = 13, 12
KERNEL_2, MAPS_2 = 7, 18
CONV_1 = PATCH - KERNEL_1 + 1  # 20
POOL_1 = CONV_1 // 2  # 10
CONV_2 = POOL_1 - KERNEL_2 + 1  # 4
POOL_2 = CONV_2 // 2  # 2
HIDDEN = 8
CENTRE = 5.0  # Middle of a cue's range, [0, 10].

# Output columns of the first layer that one banded product makes: more waste products, fewer waste copies.
_BLOCK = 10


def _band(kernel: int, out: int) -> np.ndarray:
    """`[kernel, out + kernel - 1, out]`: 1 where input column = output column + kernel column."""
    k, o = np.meshgrid(np.arange(kernel), np.arange(out), indexing="ij")
    band = np.zeros((kernel, out + kernel - 1, out), np.float32)
    band[k, k + o, o] = 1
    return band


def conv1(maps: jax.Array, kernel: jax.Array) -> jax.Array:
    """A valid convolution (correlation) of one-channel maps.

    Args:
      maps: `float32 [B, H, W]`.
      kernel: `float32 [13, 13, 12]`.

    Returns:
      `float32 [B, H - 12, W - 12, 12]`.
    """
    batch, height, width = maps.shape
    size, _, channels = kernel.shape
    rows, columns = height - size + 1, width - size + 1
    blocks = -(-columns // _BLOCK)
    span = _BLOCK + size - 1
    maps = jnp.pad(maps, ((0, 0), (0, 0), (0, blocks * _BLOCK - columns)))
    tall = jnp.stack([maps[:, i : i + rows] for i in range(size)], axis=2)  # [B, rows, 13, W]
    windows = jnp.stack([tall[..., i * _BLOCK : i * _BLOCK + span] for i in range(blocks)], axis=2)
    matrix = jnp.einsum("ykc,kxo->yxoc", kernel, _band(size, _BLOCK))
    out = windows.reshape(-1, size * span) @ matrix.reshape(size * span, _BLOCK * channels)
    return out.reshape(batch, rows, blocks * _BLOCK, channels)[:, :, :columns]


def conv2(maps: jax.Array, kernel: jax.Array) -> jax.Array:
    """A valid convolution, one product a row of the output; `[B, 10, 10, 12]`, `[7, 7, 12, 18]` to `[B, 4, 4, 18]`."""
    size, _, channels, out_channels = kernel.shape
    batch, height, width, _ = maps.shape
    rows, columns = height - size + 1, width - size + 1
    windows = jnp.stack([maps[:, i : i + size] for i in range(rows)], axis=1)  # [B, rows, 7, W, C]
    matrix = jnp.einsum("ykco,kxj->yxcjo", kernel, _band(size, columns))
    out = windows.reshape(-1, size * width * channels) @ matrix.reshape(-1, columns * out_channels)
    return out.reshape(batch, rows, columns, out_channels)


def max_pool(maps: jax.Array) -> jax.Array:
    """Max over 2 x 2 with stride 2; `[B, H, W, C]` with even H and W."""
    batch, height, width, channels = maps.shape
    return maps.reshape(batch, height // 2, 2, width // 2, 2, channels).max(axis=(2, 4))


class CueCNN(nn.Module):
    """The network of one cue.

    Initial weights are normal with He's variance, the first layer's scaled by 0.1 for inputs in [0, 10], the last
    layer's with standard deviation 0.01; biases are 0.
    """

    def setup(self) -> None:
        """Declares 13,244 parameters."""
        normal, zeros = nn.initializers.normal, nn.initializers.zeros
        self.kernel_1 = self.param("kernel_1", normal(0.1 * (2 / 169) ** 0.5), (KERNEL_1, KERNEL_1, MAPS_1))
        self.bias_1 = self.param("bias_1", zeros, (MAPS_1,))
        self.kernel_2 = self.param("kernel_2", normal((2 / 588) ** 0.5), (KERNEL_2, KERNEL_2, MAPS_1, MAPS_2))
        self.bias_2 = self.param("bias_2", zeros, (MAPS_2,))
        self.hidden_layer = nn.Dense(HIDDEN, kernel_init=normal((2 / 72) ** 0.5))
        self.output_layer = nn.Dense(2, kernel_init=normal(0.01))

    def __call__(self, patches: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The cue's own output `[B, 2]` and its hidden response `[B, 8]`, from patches `[B, 32, 32]`."""
        hidden = self.hidden(max_pool(self.response_1(patches)))
        return self.output_layer(hidden), hidden

    def response_1(self, maps: jax.Array) -> jax.Array:
        """The first layer before pooling; `[B, H, W]` to `[B, H - 12, W - 12, 12]`."""
        # Centring the cue's range only moves the bias, but SGD learns contrast many times faster without the common
        # mean of all inputs, which would dominate the kernels' gradients.
        return nn.relu(conv1(maps - CENTRE, self.kernel_1) + self.bias_1[None, None, None])

    def hidden(self, pooled: jax.Array) -> jax.Array:
        """The hidden response from the first layer's pooled maps; `[B, 10, 10, 12]` to `[B, 8]`."""
        maps = max_pool(nn.relu(conv2(pooled, self.kernel_2) + self.bias_2[None, None, None]))  # [B, 2, 2, 18]
        return nn.relu(self.hidden_layer(maps.reshape(-1, POOL_2 * POOL_2 * MAPS_2)))


def init_cues(key: jax.Array, cues: int) -> tuple[dict, ...]:
    """Parameters of `cues` networks."""
    patch = jnp.zeros((1, PATCH, PATCH), jnp.float32)
    return tuple(CueCNN().init(k, patch) for k in jax.random.split(key, cues))  # type: ignore[misc]


def init_fusion(key: jax.Array, cues: int) -> dict[str, jax.Array]:
    """The fusion layer, a linear map of the cues' hidden responses to two scores: `kernel [cues, 8, 2]`, `bias [2]`."""
    kernel = 0.01 * jax.random.normal(key, (cues, HIDDEN, 2), jnp.float32)
    return {"kernel": kernel, "bias": jnp.zeros((2,), jnp.float32)}


def fuse(fusion: dict[str, jax.Array], hidden: jax.Array) -> jax.Array:
    """The fused scores; hidden responses `[cues, B, 8]` to `[B, 2]`."""
    return jnp.einsum("kbh,kho->bo", hidden, fusion["kernel"]) + fusion["bias"][None]


def folded(outputs: jax.Array) -> jax.Array:
    """Outputs beyond the label (1, 0) reflected to this side of it; `[..., 2]` to `[..., 2]`.

    The network is trained to give (1, 0) for the target. (1.8, -0.5) is as wrong as (0.2, 0.5); the plain score would
    prefer it to everything else, and it is what unfamiliar background gives now and then.
    """
    return jnp.stack([1 - jnp.abs(1 - outputs[..., 0]), jnp.abs(outputs[..., 1])], axis=-1)


def score(outputs: jax.Array) -> jax.Array:
    """S = s1 exp(s1 - s2), the score of a candidate (section III-A); `[..., 2]` to `[...]`."""
    return outputs[..., 0] * jnp.exp(outputs[..., 0] - outputs[..., 1])


def pooled_windows(responses: jax.Array, level: jax.Array, row: jax.Array, column: jax.Array) -> jax.Array:
    """The first layer's pooled maps of many patches of one dense response map, without computing them anew.

    Patches that overlap on the map's grid share the first layer, and the result is the same as patch by patch.

    Args:
      responses: `float32 [L, H, W, C]`, `response_1` of L whole maps.
      level: `int32 [N]`, the map of each patch.
      row: `int32 [N]`, top row of each patch, in [0, H - 20].
      column: `int32 [N]`, left column, in [0, W - 20].

    Returns:
      `float32 [N, 10, 10, C]`.
    """
    down = jnp.maximum(responses[:, :-1], responses[:, 1:])
    pooled = jnp.maximum(down[:, :, :-1], down[:, :, 1:])  # 2 x 2 maxima at stride 1
    steps = 2 * jnp.arange(POOL_1, dtype=jnp.int32)
    rows = row[:, None, None] + steps[None, :, None]
    columns = column[:, None, None] + steps[None, None, :]
    return pooled[level[:, None, None], rows, columns]
