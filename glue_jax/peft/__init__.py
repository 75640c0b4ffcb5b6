"""The maths of tuning few parameters: LoRA, adapters, prompts, scaling.

Plain functions and plugs; what makes methods of them is `methods`. Imported by
`methods` and what stands above.
"""
