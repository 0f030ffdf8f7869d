package mask

// Polygons returns the outlines of mask [H][W] as COCO's `segmentation` has
// them: one polygon x, y, x, y, … for each part, clockwise on the screen, along
// the pixels' edges (so a single pixel at the origin is 0,0, 1,0, 1,1, 0,1),
// corners only, not closed. Parts are joined by edges, not by corners.
//
// COCO polygons know no holes: what lies inside a part's outline counts as
// filled, and other parts there are left out. It fails if the size is not the
// mask's or is over MaxPixels.
func Polygons(mask []byte, W, H int) ([][]float64, error) {
	if err := Check(len(mask), W, H); err != nil {
		return nil, err
	}
	if W == 0 {
		return nil, nil
	}
	t := tracer{mask: mask, w: W, h: H, mark: make([]int8, (W+1)*H)}
	var polygons [][]float64
	for y := range H {
		depth := 0 // 1 inside a traced outline, 0 outside
		for x := range W {
			depth += int(t.mark[y*(W+1)+x])
			if depth == 0 && mask[y*W+x] != 0 {
				polygons = append(polygons, t.outline(x, y))
				depth = 1
			}
		}
	}
	return polygons, nil
}

// tracer follows outlines along the edges between pixels.
type tracer struct {
	mask []byte
	w, h int
	mark []int8 // [h][w+1] upright edges of outlines: +1 enters (from the left), −1 leaves
}

func (t *tracer) set(x, y int) bool {
	return x >= 0 && y >= 0 && x < t.w && y < t.h && t.mask[y*t.w+x] != 0
}

// outline follows the outline that has pixel (x, y) at its top left corner, the
// part on its right hand, until it is back, and marks its upright edges.
//
//	 left | right        the two pixels ahead of a walker at + who came from
//	------+------        below: right empty → turn right; else left empty → go
//	      ^ part         on; else turn left
//
// Trying right first keeps apart what only touches at a corner.
func (t *tracer) outline(x, y int) []float64 {
	startX, startY := x, y
	dx, dy := 1, 0
	polygon := []float64{float64(x), float64(y)}
	for {
		if dy > 0 {
			t.mark[y*(t.w+1)+x] = -1
		} else if dy < 0 {
			t.mark[(y-1)*(t.w+1)+x] = 1
		}
		x, y = x+dx, y+dy
		if x == startX && y == startY && dy < 0 {
			return polygon
		}
		// The pixel ahead on the right (left) of direction (dx, dy) from corner
		// (x, y): the corner's four pixels lie at x−1 and x, y−1 and y.
		rightX, rightY := x+(dx-dy-1)/2, y+(dy+dx-1)/2
		leftX, leftY := x+(dx+dy-1)/2, y+(dy-dx-1)/2
		switch {
		case !t.set(rightX, rightY):
			dx, dy = -dy, dx
		case !t.set(leftX, leftY):
			continue
		default:
			dx, dy = dy, -dx
		}
		polygon = append(polygon, float64(x), float64(y))
	}
}

// PolygonArea returns the area of polygons that do not overlap, in pixels.
func PolygonArea(polygons [][]float64) float64 {
	total := 0.0
	for _, p := range polygons {
		twice := 0.0
		n := len(p) / 2
		for i := range n {
			j := (i + 1) % n
			twice += p[2*i]*p[2*j+1] - p[2*j]*p[2*i+1]
		}
		if twice < 0 {
			twice = -twice
		}
		total += twice / 2
	}
	return total
}
