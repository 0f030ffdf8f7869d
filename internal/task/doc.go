// Package task is the structured half of PaliGemma: it turns a task into a
// prompt, and what the model writes back into boxes, masks, COCO run-length
// codes, polygons and pictures.
//
// Coordinates. A box is [x0, y0, x1, y1]: x to the right, y down, origin at the
// top left corner of the upright image, in pixels unless said otherwise. The
// model writes y before x and bins each side to 0..1023 (big_vision:
// round(1023·coordinate/size)).
//
// Masks are []byte of H·W values, row-major, 0 or 1 (any other value counts as 1).
package task
