-- Documents, their passages, and a full-text index over the passages.
CREATE TABLE documents (
    id INTEGER PRIMARY KEY,
    path TEXT NOT NULL UNIQUE,
    title TEXT NOT NULL,
    kind TEXT NOT NULL,
    size INTEGER NOT NULL,
    digest TEXT NOT NULL,
    ingested_at TEXT NOT NULL
);

CREATE TABLE passages (
    id INTEGER PRIMARY KEY,
    document_id INTEGER NOT NULL REFERENCES documents (id) ON DELETE CASCADE,
    heading TEXT NOT NULL,
    line INTEGER NOT NULL,
    text TEXT NOT NULL
);

CREATE INDEX passages_by_document ON passages (document_id);

-- The index holds no second copy of the text; the triggers keep it in step with the table.
CREATE VIRTUAL TABLE passages_fts USING fts5 (
    heading,
    text,
    content = 'passages',
    content_rowid = 'id',
    tokenize = 'porter unicode61 remove_diacritics 2'
);

CREATE TRIGGER passages_inserted AFTER INSERT ON passages BEGIN
    INSERT INTO passages_fts (rowid, heading, text) VALUES (new.id, new.heading, new.text);
END;

CREATE TRIGGER passages_deleted AFTER DELETE ON passages BEGIN
    INSERT INTO passages_fts (passages_fts, rowid, heading, text) VALUES ('delete', old.id, old.heading, old.text);
END;

CREATE TABLE questions (
    id INTEGER PRIMARY KEY,
    question TEXT NOT NULL,
    asked_at TEXT NOT NULL,
    hits INTEGER NOT NULL,
    seconds REAL NOT NULL
);
