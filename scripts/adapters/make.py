#!/usr/bin/env python3
"""Makes small random adapters with PEFT, and what the unmerged models compute with them.

  python make.py TESTDATA

TESTDATA/adapters/NAME gets an adapter for one of TESTDATA/checkpoints, and
TESTDATA/adapters/goldens.safetensors, for each case, the image features and the last two
rows of the logits on the input of case c00 of TESTDATA/goldens (float32, eager
attention). cases.json says which adapters, at which scale, a case has. merged.safetensors
has weights that merge_and_unload gives.
Needs torch, transformers, peft and safetensors.
"""
import json, os, pathlib, shutil, sys, warnings
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import PaliGemmaForConditionalGeneration

warnings.filterwarnings("ignore")
torch.set_num_threads(1)
data = sys.argv[1]
out = f"{data}/adapters"

TOWER = r".*vision_tower.*\.(q_proj|v_proj|fc2)|.*multi_modal_projector\.linear"
# name: (checkpoint, type of the weights, configuration)
ADAPTERS = {
    "lora": ("pg1-tiny", torch.float32, dict(
        r=4, lora_alpha=8, rank_pattern={"o_proj": 6}, alpha_pattern={"v_proj": 3}, modules_to_save=["multi_modal_projector"],
        target_modules=r".*language_model.*\.(q_proj|v_proj|o_proj|down_proj)|.*vision_tower.*\.(q_proj|fc1)")),
    # A bare v_proj is in the tower, too. The keys of the patterns are regular expressions.
    "rslora": ("pg1-tiny", torch.bfloat16, dict(
        r=4, lora_alpha=3, use_rslora=True, target_modules=["k_proj", "v_proj", "gate_proj"],
        rank_pattern={r"layers\.[01]\.mlp\.gate_proj": 2, r".*\.2\..*gate_proj": 3}, alpha_pattern={r".*vision_tower.*\.v_proj": 5.5, "v_proj": 2})),
    "dora": ("pg1-tiny", torch.float32, dict(r=2, lora_alpha=4, use_dora=True, target_modules=["q_proj", "up_proj", "fc2", "linear"])),
    "places": ("pg1-tiny", torch.float16, dict(r=2, lora_alpha=4, target_modules=["embed_tokens", "lm_head", "patch_embedding", "position_embedding"])),
    "embedding": ("pg1-tiny", torch.float16, dict(r=2, lora_alpha=4, target_modules=["embed_tokens"])),
    "head": ("pg1-tiny", torch.float16, dict(r=2, lora_alpha=4, target_modules=["lm_head"])),
    "dora_places": ("pg1-tiny", torch.float32, dict(r=1, lora_alpha=2, use_dora=True, target_modules=["embed_tokens", "patch_embedding"])),
    "bias_all": ("pg1-tiny", torch.float32, dict(r=2, lora_alpha=2, bias="all", target_modules=["out_proj", "o_proj"])),
    "bias_lora_only": ("pg1-tiny", torch.float32, dict(r=2, lora_alpha=2, bias="lora_only", target_modules=["fc1"])),
    "lora_bias": ("pg1-tiny", torch.float32, dict(r=2, lora_alpha=3, lora_bias=True, target_modules=TOWER)),
    "lora_bias_text": ("pg1-tiny", torch.float32, dict(r=2, lora_alpha=3, lora_bias=True, target_modules=["down_proj"])),
    "norms": ("pg1-tiny", torch.float32, dict(r=2, lora_alpha=2, target_modules=["gate_proj"], modules_to_save=["input_layernorm", "post_layernorm"])),
    "pg2_lora": ("pg2-tiny", torch.float32, dict(
        r=3, lora_alpha=6, target_modules=["q_proj", "down_proj", "fc1"], modules_to_save=["multi_modal_projector", "pre_feedforward_layernorm"])),
    "pg2_dora": ("pg2-tiny", torch.bfloat16, dict(r=2, lora_alpha=4, use_rslora=True, use_dora=True, target_modules=["v_proj", "o_proj", "out_proj"])),
    "pg2_places": ("pg2-tiny", torch.float16, dict(r=2, lora_alpha=4, target_modules=["embed_tokens", "lm_head", "patch_embedding"])),
}
# Cases of several adapters, or of other scales than 1.
SUMS = {"two": [("lora", 0.5), ("rslora", -1)], "half_dora": [("dora", 0.5)]}


def load(name):
    m = PaliGemmaForConditionalGeneration.from_pretrained(f"{data}/checkpoints/{name}", dtype=torch.float32, attn_implementation="eager")
    return m.eval()


def randomize(model, g):
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=g)
            if "lora_magnitude" in name: p.mul_(1 + 0.2 * noise)
            elif "lora_" in name: p.copy_(0.1 * noise)
            elif p.requires_grad: p.add_(0.05 * noise)


def run(model, name):
    """Image features and logits of case c00; the base's wrapper is left out."""
    base = model.base_model.model
    golden = load_file(f"{data}/goldens/{name}.safetensors")
    case = next(c for c in json.load(open(f"{data}/goldens/{name}.json"))["cases"] if c["case"] == "c00")
    pixels = golden["c00.pixels"].float() / 127.5 - 1
    if pixels.dim() == 3: pixels = pixels[None]
    ids, types = torch.tensor([case["input_ids"]]), torch.tensor([case["token_type_ids"]])
    with torch.no_grad():
        features = base.model.get_image_features(pixels)
        features = getattr(features, "pooler_output", features)
        logits = base(input_ids=ids, token_type_ids=types, attention_mask=torch.ones_like(ids), pixel_values=pixels).logits
    return {"image_features": torch.as_tensor(features).reshape(-1, base.config.text_config.hidden_size).contiguous(),
            "logits": logits[0, -2:].float().contiguous()}


os.makedirs(out, exist_ok=True)
goldens, cases = {}, {}
for seed, (name, (checkpoint, dtype, config)) in enumerate(ADAPTERS.items()):
    g = torch.Generator().manual_seed(seed)
    peft = get_peft_model(load(checkpoint), LoraConfig(**config))
    randomize(peft, g)
    folder = f"{out}/{name}"
    shutil.rmtree(folder, ignore_errors=True)
    peft.save_pretrained(folder, save_embedding_layers=False)
    pathlib.Path(folder, "README.md").unlink(missing_ok=True)
    weights = {k: v.to(dtype) for k, v in load_file(f"{folder}/adapter_model.safetensors").items()}
    save_file(weights, f"{folder}/adapter_model.safetensors")
    written = json.load(open(f"{folder}/adapter_config.json"))
    written["base_model_name_or_path"] = checkpoint
    if isinstance(written["target_modules"], list): written["target_modules"].sort()
    json.dump(written, open(f"{folder}/adapter_config.json", "w"), indent=1)
    SUMS.setdefault(name, [(name, 1)])

for case, parts in SUMS.items():
    checkpoint = ADAPTERS[parts[0][0]][0]
    model = None
    for name, _ in parts:
        if model is None: model = PeftModel.from_pretrained(load(checkpoint), f"{out}/{name}", adapter_name=name)
        else: model.load_adapter(f"{out}/{name}", adapter_name=name)
    model.base_model.set_adapter([name for name, _ in parts])
    for module in model.modules():
        for name, scale in parts:
            if hasattr(module, "set_scale"): module.set_scale(name, scale)
    for what, t in run(model.eval(), checkpoint).items(): goldens[f"{case}.{what}"] = t
    cases[case] = {"checkpoint": checkpoint, "adapters": [{"name": n, "scale": s} for n, s in parts]}

# Some of the weights that merging gives: those of layer 1 and of the projector.
adapter = load_file(f"{out}/lora/adapter_model.safetensors")
merged = PeftModel.from_pretrained(load("pg1-tiny"), f"{out}/lora").merge_and_unload().state_dict()
touched = {k.removeprefix("base_model.model.").replace(".lora_A.", ".").replace(".lora_B.", ".") for k in adapter}
save_file({k: merged[k].contiguous() for k in sorted(touched) if ".layers.1." in k or "projector" in k}, f"{out}/merged.safetensors")

save_file(dict(sorted(goldens.items())), f"{out}/goldens.safetensors")
json.dump(cases, open(f"{out}/cases.json", "w"), indent=1)
