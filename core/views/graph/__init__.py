"""The computation graph: looped beside unrolled, two models in contrast. Start with `compute`."""
