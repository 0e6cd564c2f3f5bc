"""What the pixel judge can say in Chinese."""

from services.judging.pixel_judge.phrases import Family, Phrases, Tongue
from services.judging.pixel_judge.properties import Property

CHINESE = Tongue(
    phrases={
        Property.EDITED: Phrases(
            themes=("编辑实现", "执行指令", "编辑完整"),
            statements=("所要求的编辑已经实现。", "指令要求的内容在画面中可以看到。", "编辑完整地达到了要求。"),
            merit="实现了所要求的编辑",
        ),
        Property.COUNT: Phrases(
            themes=("物体数量", "个数正确", "物体数目"),
            statements=("物体的数量与要求一致。", "画面中物体的个数正确。", "物体的数目既没有缺少，也没有多余。"),
            merit="物体的数量正确",
        ),
        Property.SHAPE: Phrases(
            themes=("物体形状", "物体轮廓", "物体外形"),
            statements=("物体的形状与要求一致。", "物体的轮廓正是所要求的样子。", "物体的外形完整，符合要求。"),
            merit="物体的形状符合要求",
        ),
        Property.COLOUR: Phrases(
            themes=("颜色正确", "物体颜色", "物体色相"),
            statements=("物体的颜色与要求一致。", "物体呈现出所要求的颜色。", "物体的色相正是所要求的那一种。"),
            merit="物体的颜色符合要求",
        ),
        Property.PRESERVATION: Phrases(
            themes=("保留原图", "其余部分", "内容完好"),
            statements=(
                "不该变化的内容都按原图保留。",
                "要求之外的内容保持不变。",
                "目标区域以外的内容完好无损。",
            ),
            merit="原图的其余部分保持不变",
        ),
        Property.BACKGROUND: Phrases(
            themes=("背景简洁", "背景内容", "背景平静"),
            statements=(
                "背景简洁，除物体外没有其他内容。",
                "背景中没有分散注意力的内容。",
                "背景平静而单一。",
            ),
            merit="背景简洁",
        ),
        Property.UNIFORM: Phrases(
            themes=("填充均匀", "表面平滑", "表面干净"),
            statements=(
                "物体的填充均匀，没有斑点或污渍。",
                "物体的表面平滑，没有斑驳或渐变。",
                "物体的表面干净，没有杂色。",
            ),
            merit="填充均匀",
        ),
        Property.BRIGHTNESS: Phrases(
            themes=("光线充足", "曝光充足", "画面亮度"),
            statements=("画面明亮，光线充足。", "曝光充足，没有昏暗的部分。", "整个画面的亮度足够。"),
            merit="画面明亮",
        ),
        Property.CONTRAST: Phrases(
            themes=("对比度", "明暗对比", "深浅对比"),
            statements=("画面的对比度强。", "画面的明暗对比分明。", "浅色与深色之间的对比强烈。"),
            merit="对比强烈",
        ),
        Property.COLOURFULNESS: Phrases(
            themes=("画面鲜艳", "饱和度", "整体艳丽"),
            statements=("画面鲜艳。", "画面的饱和度高，不发灰。", "画面整体艳丽。"),
            merit="画面鲜艳",
        ),
        Property.SHARPNESS: Phrases(
            themes=("清晰度", "边缘锐利", "对焦"),
            statements=("画面清晰，没有模糊。", "物体的边缘锐利。", "细节清晰，对焦准确。"),
            merit="画面清晰",
        ),
        Property.NOISE: Phrases(
            themes=("没有噪点", "没有颗粒感", "没有伪影"),
            statements=("画面中看不到噪点。", "画面没有颗粒感。", "画面没有压缩伪影。"),
            merit="没有噪点",
        ),
    },
    families={
        Family.OTHER: "整体印象",
        Family.REQUEST: "符合要求",
        Family.SOURCE: "忠于原图",
        Family.COMPOSITION: "构图",
        Family.TONE: "光影",
        Family.DETAIL: "细节",
    },
    because="较好的图像{merits}；另一张图像在这方面较差。",
    conjunction="，并且",
    no_reason="较好的图像与另一张图像之间没有可以测量的差别。",
)
