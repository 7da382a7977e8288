"""What the experiments measure of a trained model, and how seeds are compared.

Every file asks one question of a `Subject`: a model with its passes, looped, untied or deep. They
return arrays by example or by draw; `seeds` makes statements over training seeds of them. May
import `experiments` and below. Start with `subject`, then `walk`.
"""
