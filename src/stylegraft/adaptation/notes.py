"""What has to be said of a method beside its row: traps of published numbers, our readings, and what is left out."""

from __future__ import annotations

# Where a number of a paper comes from a trap, and where a row is our reading: `recipes NAME` and `adapt` say so.
NOTES: dict[str, str] = {
    "tgan": "published few-shot rows of tgan are copied from paper to paper, not run again.",
    "ada": "few-shot papers ran ada with p rising over 500 kimg: at batch 4 it stays below 0.03 in their 5,000 steps, "
    "so that their row is tgan's.",
    "freezed": "the paper's own FIDs were measured with Inception in training mode, which halves them, and its "
    "checkpoints were picked by FID on the test set.",
    "diffaugment": "the paper trains from scratch, and its numbers are of that; here a source goes on learning.",
    "fixnoise": "source, student and its average all start from G_ema (the paper's student from raw G), so that the "
    "matching is 0 at the first step.",
    "l2sp": "the paper is about classifiers, and its penalty is the plain sum of squares (drift=0); here it is of "
    "effective parameters, over their number and drift, so that a weight means the same in every space.",
    "freezeg": "the released code finds the layers that learn by parts of their names, `convs.1` in `convs.10` too; "
    "here they are whole blocks.",
    "ui2i": "the paper's inversion of photographs is left out: a pair is one latent, drawn by the source and by the "
    "domain.",
    "dcl": "dcl is our reading of the paper, whose training code was never published: the positive in CL1's "
    "denominator (cl1_positive), one tap drawn a step for G and one for D (cl_taps), free latents (cl_latents), real "
    "images as CL2's negatives (cl2_negatives), CL2 to the discriminator only (cl2_to_g), CDC's anchors and patch "
    "exit kept (cdc=no switches them off). The paper's table is taken at checkpoints that differ by "
    "method, not after equal steps. Others measured it below cdc.",
    "minegan": "the miner here is affine, z + A z + b, where the paper's has a hidden layer; it starts as the identity "
    "and strength and mixes of domains stay linear. Its second miner, before the synthesis, is left out. Its "
    "row in few-shot tables is copied from cdc's paper, not run again.",
    "fsgan": "in the paper's code every adaptive configuration has singular values on, its baselines freezed and "
    "scale-shift included, so that their numbers there are not those of the methods alone.",
    "bsa": "made to be sampled near the middle, as the paper does (temperature 0.3 to 0.5): `--psi 0.4` when you "
    "generate. No discriminator learns, and nothing but the training images says what an image of the domain is. Its "
    "row in few-shot tables is copied from cdc's paper, not run again.",
    "ewc": "published rows of ewc are copied from the paper, whose code was never released; the one public port has "
    "the mean gradient where the paper has the mean of its square.",
    "adam": "the released code indexes v wrongly for kernels, so that the filters it keeps and tunes are not those "
    "that it measured; here they are indexed as the paper says. Its evaluator, which rick's shares, asks torchvision's "
    "Inception on the wrong range of values, against images mirrored at random: such FIDs go with no others, and "
    "the checkpoint of each run was picked by them, on the test set.",
    "rick": "the released evaluator asks torchvision's Inception on the wrong range of values, against images mirrored "
    "at random: its FIDs go with adam's alone.",
    "cdc": "the code's weight of 1000 is on the mean over all entries, here it is on the mean over the batch (1000 / 3 "
    "at batch 4). Not taken over: other noise in the two generators of a pair, an activation on patch logits, R1 on "
    "one exit only. Users measured higher FIDs from the released models than the paper's.",
    "rssa": "the paper's projection of latents needs an inversion and is left out. The released code mixes latents for "
    "its disturbance term and then uses others, so that the paper's numbers come without it; here they are "
    "disturbed. There the projection is on whatever its flag says, and path length is taken at the latents of the "
    "losses; here it draws its own. Sizes are shares of the image.",
    "maskedd": "maskedd is our reading of the abstract and the released settings: hidden features are made up for by "
    "scale, and the source's last layers judge what is left (the authors start new ones). Open: whether the paper's "
    "own masks are the code's 3/4 of the last features. Without a discriminator of the source, dist_d is off.",
    "freezesg": "the paper trains the mapping and takes the first style rows from the source's; here the mapping is at "
    "rest, so that all rows are the source's. The structure loss needs running images: on a generator without "
    "(MobileStyleGAN), --set structure=0.",
    "weditgan": "the paper's two variants are --set perp=1e-4, and --set cl1=0.5 --set cl2=0.5 --set cl_taps=each "
    "--set cl2_negatives=source; its intensity module is left out. Its contrast looks at the adversarial latents, ours "
    "at fresh ones.",
    "nada": "settings are StyleDomain's re-implementation (250 steps, style mixing); its runs add --set indomain=0.25, "
    "the paper's have mixing=0 and 301 steps. Both images of a pair have the same w, crossover and noise; the released "
    "codes draw the crossover and the noise again. choose_rows is the paper's adaptive choice of layers, each row of "
    "W+ with the layers that read it; the released code is off by one.",
    "mtg": "the released re-implementation leaves the L2 term out, by a name that it does not know; here it is in. The "
    "picture is inverted as `translate` does, not by II2S. A domain shows other faces in this style; to put the "
    "reference's own fine rows in as well, `translate --reference`.",
    "jojogan": "mixtures are of rows of W+, whole: in the re-implementation in S some toRGB layers kept the "
    "reference's. Maps of D are taken at each block's second convolution, before its residual. jojo_alpha is the share "
    "of random w, as in the released interface: at 1 the finer rows are all random.",
    "difa": "the mean of the source is computed when it is needed, kept in the cache, and not normalised again. Codes "
    "for its consistency come from the source's inversion encoder, where it has one; else they are the channels' means "
    "of both generators' maps, a stand-in of ours. A window of earlier steps decides what is held.",
    "hdn": "the paper's gains act after demodulation; a source whose kernels hold their demodulation has "
    "--space hdn-before. indomain is StyleDomain's 0.25 for faces; the paper has 0 for faces and 1.5 for cars.",
    "hypernet": "sentences of a step share their latents, where the paper's samples have a sentence each; offsets of "
    "styles in place of its gains (--space hdn); layer in place of batch normalisation, and no residual block of its "
    "own for each layer. The run's domain is that of its first sentence; `stylegraft hypernet RUN WORDS` gives others.",
}


# Methods that are not here, and why: asked for by name, they are refused with this.
LEFT_OUT: dict[str, str] = {
    "genda": "latent adaptor and light classifier; its code was never released",  # Yang et al., ICCV 2023
    "dorm": "mapping and affine branch at .005; needs CLIP and a face encoder",  # Wu et al., NeurIPS 2023
}
