"""How a method looks in a folder of Hugging Face's `peft`: one file a method.

A form has `write` and `read`, and says in `INSIDE` where its tensors stand; its
name in the library is in the method's record. `peft_folder` imports them.
"""
