// The server's contact sheets of heat maps, cut into their tiles.

const GAP_PX = 4; // between tiles, as the server draws them

export class Sheet {
  constructor(record, image, members) {
    this.image = image;
    this.members = members;
    this.columns = record.columns;
    this.rows = Math.ceil(members.length / record.columns);
    this.width = (record.width_px - GAP_PX * (this.columns - 1)) / this.columns;
    this.height = (record.height_px - GAP_PX * (this.rows - 1)) / this.rows;
  }

  /** Loads the sheet of one `heatmap`; its members are frames or windows, counted from 0. */
  static async load(record) {
    const image = new Image();
    image.src = `data:image/png;base64,${record.png_base64}`;
    await image.decode();
    return new Sheet(record, image, record.frames ?? record.windows ?? []);
  }

  /** Draws the tile of one member into a rectangle of a canvas; whether there is one. */
  drawTile(context, member, left, top, width, height) {
    const index = this.members.indexOf(member);
    if (index < 0) return false;
    const x = (index % this.columns) * (this.width + GAP_PX);
    const y = Math.floor(index / this.columns) * (this.height + GAP_PX);
    context.drawImage(this.image, x, y, this.width, this.height, left, top, width, height);
    return true;
  }
}
