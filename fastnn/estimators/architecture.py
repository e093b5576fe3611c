"""The layers of a ConvNet that is given none."""

from fastnn.layers import Activation, BatchNorm, Conv1D, Conv2D, Dense, GlobalAvgPool, MaxPool2D

SHORT = 32  # a signal with fewer steps is taken as a whole


def default_layers(input_shape):
    """Layers that suit rows of this shape, without the output layer.

    Images: blocks of convolution, batch normalisation, relu and max pool, with twice the filters in each, while the
    smaller side is at least 8; then the mean over what remains. Signals: the fully convolutional network of Wang, Yan
    and Oates (2017), Time series classification from scratch with deep neural networks. Signals of less than 32 steps
    are rather tables: one small convolution and a dense layer.

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
    return [*_block(Conv1D(64, 8, padding="same")), *_block(Conv1D(128, 5, padding="same")),
            *_block(Conv1D(64, 3, padding="same")), GlobalAvgPool()]  # fmt: skip


def _image(height, width):
    stack, filters, side = [], 32, min(height, width)
    while side >= 8:
        stack += [*_block(Conv2D(filters, 3, padding="same")), MaxPool2D(2)]
        filters, side = min(2 * filters, 256), side // 2
    return [*stack, *_block(Conv2D(filters, 3, padding="same")), GlobalAvgPool()]


def _block(convolution):
    return [convolution, BatchNorm(), Activation("relu")]
