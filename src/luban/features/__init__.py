"""Column types: one file per type. Does not know tasks, model families, files or the network."""

FEATURES = {
    "text": ".text:Text",
    "category": ".category:Category",
    "number": ".number:Number",
    "time": ".time:Time",
    "tags": ".tags:Tags",
    "image": ".image:Image",
}
