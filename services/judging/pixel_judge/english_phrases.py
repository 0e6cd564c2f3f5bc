"""What the pixel judge can say in English."""

from services.judging.pixel_judge.phrases import Family, Phrases, Tongue
from services.judging.pixel_judge.properties import Property

ENGLISH = Tongue(
    phrases={
        Property.EDITED: Phrases(
            themes=("Edit carried out", "Instruction followed", "Complete edit"),
            statements=(
                "The edit that was asked for has happened.",
                "What the instruction asks for can be seen in the image.",
                "Nothing is missing from the edit that was asked for.",
            ),
            merit="carries out the instruction",
        ),
        Property.COUNT: Phrases(
            themes=("Number of objects", "Right count", "Quantity"),
            statements=(
                "The number of objects is the one that was named.",
                "There are as many objects as asked for: the count is right.",
                "The quantity of objects is the requested one.",
            ),
            merit="shows the right number of objects",
        ),
        Property.SHAPE: Phrases(
            themes=("Shape", "Outline", "Silhouette"),
            statements=(
                "The object has the shape that was asked for.",
                "The outline of the object is exactly the form that was named.",
                "The silhouette is complete and fits the requested form.",
            ),
            merit="has the shape that was asked for",
        ),
        Property.COLOUR: Phrases(
            themes=("Colour", "Hue of the object", "Requested colour"),
            statements=(
                "The object has the colour that was asked for.",
                "The hue of the object is the one that was named.",
                "Whatever is asked for is painted in the requested colour.",
            ),
            merit="has the colour that was asked for",
        ),
        Property.PRESERVATION: Phrases(
            themes=("Preservation", "Untouched surroundings", "Source left intact"),
            statements=(
                "Whatever was not to change is preserved as in the source.",
                "Everything outside the requested change is untouched.",
                "The surroundings of the change are intact.",
            ),
            merit="leaves the rest of the source untouched",
        ),
        Property.BACKGROUND: Phrases(
            themes=("Plain background", "Background", "Calm backdrop"),
            statements=(
                "The background is plain, with nothing but the object in front of it.",
                "Nothing in the background draws attention away from the object.",
                "The backdrop is calm, without disturbing elements.",
            ),
            merit="has a plain background",
        ),
        Property.UNIFORM: Phrases(
            themes=("Uniform fill", "Smooth surface", "Solid fill"),
            statements=(
                "The fill of the object is even, without spots or stains.",
                "The surface of the object is smooth, without blotches or gradients.",
                "The object is filled with one solid, uniform tone.",
            ),
            merit="has an even fill",
        ),
        Property.BRIGHTNESS: Phrases(
            themes=("Brightness", "Exposure", "Bright lighting"),
            statements=(
                "The image is bright and well lit.",
                "The exposure is high enough that nothing sinks into the dark.",
                "The lighting reaches every part of the image.",
            ),
            merit="is well lit",
        ),
        Property.CONTRAST: Phrases(
            themes=("Contrast", "Strong contrast", "Contrast of tones"),
            statements=(
                "The image has strong contrast.",
                "The contrast between light and deep tones is strong.",
                "Light and deep tones stand in clear contrast.",
            ),
            merit="has strong contrast",
        ),
        Property.COLOURFULNESS: Phrases(
            themes=("Vividness", "Saturation", "Vibrancy"),
            statements=(
                "The image looks vivid.",
                "The image is richly saturated, not washed out.",
                "The overall look is vibrant.",
            ),
            merit="looks vivid",
        ),
        Property.SHARPNESS: Phrases(
            themes=("Sharpness", "Crisp edges", "Crisp detail"),
            statements=(
                "The image is sharp, without blur.",
                "The edges of the object are crisp.",
                "Details are crisp, and the object is in focus.",
            ),
            merit="is sharp",
        ),
        Property.NOISE: Phrases(
            themes=("No noise", "No grain", "No artefacts"),
            statements=(
                "There is no visible noise.",
                "The image is free of grain.",
                "No compression artefacts can be seen.",
            ),
            merit="is free of noise",
        ),
    },
    families={
        Family.OTHER: "Overall impression",
        Family.REQUEST: "What was asked for",
        Family.SOURCE: "Faithfulness to the source",
        Family.COMPOSITION: "Composition",
        Family.TONE: "Light and tone",
        Family.DETAIL: "Fine detail",
    },
    because="The better image {merits}; the other image does so less.",
    conjunction=" and ",
    no_reason="Nothing that can be measured sets the better image apart from the other image.",
)
