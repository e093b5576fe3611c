"""The layers of a ConvNet that is given none."""

from fastnn.layers import (
    Activation,
    AvgPool1D,
    BatchNorm,
    Conv1D,
    Conv2D,
    Dense,
    Dropout,
    GlobalAvgPool,
    MaxPool1D,
    MaxPool2D,
)

STRETCHES = 8  # of time that the output layer sees of a signal
SHORT = 4 * STRETCHES  # a signal with fewer steps is taken as a whole


def default_layers(input_shape):
    """Layers that suit rows of this shape, without the output layer.

    Images: blocks of convolution, batch normalisation, relu and max pool, with twice the filters in each, while the
    smaller side is at least 8; then the mean over what remains. Signals: three such convolutions, the first two with
    pools, then means over at most 8 stretches of time, all of which the output layer sees: where something happens
    counts as much as what (on ArrowHead the mean over the whole time, as in the networks of Wang, Yan and Oates (2017),
    gives 0.65 to 0.75 instead of 0.83). Signals of less than 32 steps are rather tables: one small convolution and a
    dense layer.

    Parameters
    ----------
    input_shape : tuple of int
        (height, width, channels) or (time, channels).

    Returns
    -------
    list of layer specs
    """
    if len(input_shape) == 3:
        return _image(*input_shape[:2])
    if input_shape[0] < SHORT:
        return [Conv1D(16, min(3, input_shape[0]), padding="same", activation="relu"), Dense(64, "relu")]
    return _signal(input_shape[0])


def _image(height, width):
    stack, filters, side = [], 32, min(height, width)
    while side >= 8:
        stack += [*_block(Conv2D(filters, 3, padding="same")), MaxPool2D(2)]
        filters, side = min(2 * filters, 256), side // 2
    return [*stack, *_block(Conv2D(filters, 3, padding="same")), GlobalAvgPool()]


def _signal(time):
    return [
        *_block(Conv1D(32, 9, padding="same")), MaxPool1D(2),
        *_block(Conv1D(64, 5, padding="same")), MaxPool1D(2),
        *_block(Conv1D(64, 3, padding="same")), AvgPool1D(-(-(time // 4) // STRETCHES), padding="same"), Dropout(0.3),
    ]  # fmt: skip


def _block(convolution):
    return [convolution, BatchNorm(), Activation("relu")]
