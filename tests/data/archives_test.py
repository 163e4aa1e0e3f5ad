import stat
import zipfile

import pytest

from jaxtrack.data import archives
from jaxtrack.data.archives import BrokenArchiveError, unpack_zip
from jaxtrack.errors import UserError


@pytest.fixture
def archive(tmp_path):
    """Writes a zip of the given members, each a name or a ZipInfo, with its content."""

    def write(*members, content=b"content"):
        path = tmp_path / "Deer.zip"
        with zipfile.ZipFile(path, "w") as opened:
            for member in members:
                opened.writestr(member, content)
        return path

    return write


def unpacked(archive, tmp_path):
    unpack_zip(archive, tmp_path / "new")
    return sorted(path.relative_to(tmp_path / "new").as_posix() for path in (tmp_path / "new").rglob("*.*"))


@pytest.mark.parametrize(
    "members",
    [
        ("Deer/", "Deer/img/", "Deer/img/0001.jpg", "Deer/groundtruth_rect.txt"),
        ("img/0001.jpg", "groundtruth_rect.txt"),
        ("Deer/img/0001.jpg", "Deer/groundtruth_rect.txt", "__MACOSX/Deer/img/._0001.jpg", "Deer/.DS_Store"),
        ("other_name/img/0001.jpg", "other_name/groundtruth_rect.txt", "other_name/img/._0001.jpg"),
    ],
)
def test_the_sequence_lies_directly_in_the_folder_whatever_the_archives_layout(archive, tmp_path, members):
    assert unpacked(archive(*members), tmp_path) == ["groundtruth_rect.txt", "img/0001.jpg"]
    assert (tmp_path / "new" / "img" / "0001.jpg").read_bytes() == b"content"


def test_an_archive_of_images_alone_keeps_their_folder(archive, tmp_path):
    assert unpacked(archive("img/0001.jpg", "img/0002.jpg"), tmp_path) == ["img/0001.jpg", "img/0002.jpg"]


def test_a_file_without_a_folder_keeps_its_name(archive, tmp_path):
    assert unpacked(archive("attributes.txt"), tmp_path) == ["attributes.txt"]


@pytest.mark.parametrize(
    "name",
    [
        "../evil.txt",
        "Deer/../../evil.txt",
        "/etc/evil.txt",
        "C:/evil.txt",
        "c:evil.txt",
        "..\\evil.txt",
        "__MACOSX/../../evil.txt",
        ".",
    ],
)
def test_a_path_that_leads_out_is_refused_before_anything_is_written(archive, tmp_path, name):
    path = archive("Deer/img/0001.jpg", name)
    (tmp_path / "inside").mkdir()
    with pytest.raises(UserError, match=r"Deer\.zip was not unpacked: its member .* leads out of the folder"):
        unpack_zip(path, tmp_path / "inside" / "new")
    assert list((tmp_path / "inside").iterdir()) == []
    assert sorted(each.name for each in tmp_path.iterdir()) == ["Deer.zip", "inside"]


def test_a_link_is_refused(archive, tmp_path):
    link = zipfile.ZipInfo("Deer/img")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with pytest.raises(UserError, match=r"member 'Deer/img' is a link"):
        unpack_zip(archive(link, content=b"/etc"), tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_an_encrypted_member_is_refused(archive, tmp_path):
    path = archive("a.txt")
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1  # the flag in the central directory
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"member 'a\.txt' is an encrypted file"):
        unpack_zip(path, tmp_path / "new")


def test_an_archive_that_unpacks_to_too_much_is_refused(archive, tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_UNPACKED_BYTES", 13)
    with pytest.raises(UserError, match=r"Deer\.zip would unpack to 14 bytes in 2 files"):
        unpack_zip(archive("a.txt", "b.txt"), tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_an_archive_of_too_many_files_is_refused(archive, tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_MEMBERS", 1)
    with pytest.raises(UserError, match="in 2 files"):
        unpack_zip(archive("a.txt", "b.txt"), tmp_path / "new")


def test_a_damaged_member_leaves_nothing(archive, tmp_path):
    path = archive("Deer/a.txt", "Deer/b.txt")
    data = bytearray(path.read_bytes())
    data[data.rindex(b"content")] ^= 1
    path.write_bytes(data)
    with pytest.raises(BrokenArchiveError, match=r"Deer\.zip is not a complete zip archive \(Bad CRC-32.*b\.txt"):
        unpack_zip(path, tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("keep", [0, 10, -1])
def test_an_archive_that_was_cut_off_leaves_nothing(archive, tmp_path, keep):
    path = archive("Deer/a.txt", "Deer/b.txt")
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(BrokenArchiveError, match="not a complete zip archive"):
        unpack_zip(path, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_two_members_of_one_place_are_refused(archive, tmp_path):
    with pytest.raises(UserError, match=r"it holds 'Deer//a\.txt' twice"):
        unpack_zip(archive("Deer/a.txt", "Deer//a.txt"), tmp_path / "new")
    assert not (tmp_path / "new").exists()
