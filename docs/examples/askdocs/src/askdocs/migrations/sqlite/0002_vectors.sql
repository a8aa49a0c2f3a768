-- What passages mean, by a model: 32-bit floats, of length 1.
CREATE TABLE vectors (
    passage_id INTEGER NOT NULL REFERENCES passages (id) ON DELETE CASCADE,
    model TEXT NOT NULL,
    vector BLOB NOT NULL,
    PRIMARY KEY (passage_id, model)
) WITHOUT ROWID;
