"""The mask codec: PaliGemma's VQ-VAE, 64 x 64 masks as 16 codes of 128. The decoder has the layers and names of vae-oid.npz."""
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(128, 128, 3, padding=1), nn.ReLU(), nn.Conv2d(128, 128, 3, padding=1), nn.ReLU(), nn.Conv2d(128, 128, 1))

    def forward(self, x):
        return x + self.net(x)


def up(a, b):
    return nn.ConvTranspose2d(a, b, 4, stride=2, padding=1)


def down(a, b):
    return nn.Conv2d(a, b, 4, stride=2, padding=1)


class Codec(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(down(1, 32), nn.ReLU(), down(32, 64), nn.ReLU(), down(64, 128), nn.ReLU(), down(128, 128), nn.ReLU(),
                                     Residual(), nn.Conv2d(128, 512, 1))
        self.decoder = nn.Sequential(nn.Conv2d(512, 128, 1), nn.ReLU(), Residual(), Residual(), up(128, 128), nn.ReLU(), up(128, 64), nn.ReLU(),
                                     up(64, 32), nn.ReLU(), up(32, 16), nn.ReLU(), nn.Conv2d(16, 1, 1))
        self.register_buffer("codebook", torch.randn(128, 512))
        self.register_buffer("sums", torch.zeros(128, 512))
        self.register_buffer("counts", torch.zeros(128))

    def features(self, masks):
        """[n, 64, 64] of 0 to 1 -> [n, 16, 512]"""
        return self.encoder(masks[:, None] * 2 - 1).flatten(2).transpose(1, 2)

    def nearest(self, z):
        return torch.cdist(z.flatten(0, 1).float(), self.codebook).argmin(1).view(z.shape[:2])

    @torch.no_grad()
    def encode(self, masks):
        """[n, 64, 64] -> codes [n, 16] in reading order"""
        return self.nearest(self.features(masks))

    def decode(self, rows):
        """[n, 16, 512] -> logits [n, 64, 64]"""
        return self.decoder(rows.transpose(1, 2).reshape(-1, 512, 4, 4))[:, 0]

    def forward(self, masks):
        z = self.features(masks)
        codes = self.nearest(z)
        if self.training:
            self._follow(z.detach().flatten(0, 1).float(), codes.flatten())
        q = self.codebook[codes]
        logits = self.decode(z + (q - z).detach())
        return logits, F.mse_loss(z, q.detach())

    @torch.no_grad()
    def _follow(self, z, codes):
        """The codebook follows the mean of what it stands for (van den Oord et al. 2017, appendix A.1); codes that nothing
        uses move to where something is."""
        decay = 0.97
        hot = F.one_hot(codes, 128).float()
        self.counts.mul_(decay).add_(hot.sum(0), alpha=1 - decay)
        self.sums.mul_(decay).add_(hot.T @ z, alpha=1 - decay)
        live = self.counts > 0.05
        self.codebook[live] = self.sums[live] / self.counts[live, None]
        dead = (~live).nonzero()[:, 0]
        if len(dead):
            new = z[torch.randint(len(z), (len(dead),))]
            self.codebook[dead], self.sums[dead], self.counts[dead] = new, new * 0.2, 0.2

    def save_npz(self, path):
        arrays = {"decoder." + k: v.float().cpu().numpy() for k, v in self.decoder.state_dict().items()}
        np.savez(path, **{"_vq_vae._embedding": self.codebook.float().cpu().numpy()}, **arrays)


def iou(logits, masks):
    a, b = logits > 0, masks > 0.5
    both = (a & b).flatten(1).sum(1).float()
    return (both / (a | b).flatten(1).sum(1).clamp(min=1)).mean().item()
