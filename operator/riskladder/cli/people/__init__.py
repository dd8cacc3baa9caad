"""What people do with escalations: look, decide, stop a model, and exercise. Also called ``kubectl riskladder``."""
